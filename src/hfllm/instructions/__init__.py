"""Instructions that a program can verify (after IFEval, Zhou et al. 2023, arXiv:2311.07911)."""
