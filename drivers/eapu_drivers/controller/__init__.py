"""The driver of a controller board: link, arrays in calibrated units, and the board behind a simulated port."""
