"""Reading images upright (PNG, JPEG, TIFF and others), and what their headers say together."""
