"""Recipes: one YAML file read into typed configs, checked, and shown with each value's origin."""
