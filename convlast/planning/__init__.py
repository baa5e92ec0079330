"""What will be done to each convolution weight, decided before a byte is written."""
