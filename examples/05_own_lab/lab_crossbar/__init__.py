"""What one lab brings: its array, a rule, a task."""
