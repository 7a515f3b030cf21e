"""The program of the image `clary-privacy`: finds and erases the rows of one person, and points to columns that look like personal data."""
