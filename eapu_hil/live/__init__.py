"""The live page: runs as they go on, in a process of its own that reads their directories, and the emergency stop."""
