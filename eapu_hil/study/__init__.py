"""Many runs: comparisons, the table of rules, the claims that are held against it."""
