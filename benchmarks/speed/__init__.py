"""The figures of speed, each with its goal and, where a peer does the same work, the peer's time in the same run."""
