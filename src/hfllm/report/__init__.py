"""The report of a run: read its folder (collect), make records of it (view), write the page.

collect.py -> view/ (with drawing/ for the SVG) -> page.py, markdown.py, card.py.
"""
