"""The analog front end of a controller board, on the twin, and the real firmware beside it."""
