"""Many runs: comparisons, the table of rules, and the check of claims against it."""
