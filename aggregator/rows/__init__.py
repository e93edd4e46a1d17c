"""Makes warehouse rows of stream lines; pure."""
