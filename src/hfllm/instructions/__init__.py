"""Instructions whose keeping a program can check (after IFEval, Zhou et al. 2023)."""
