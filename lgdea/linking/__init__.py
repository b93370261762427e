"""Links between images and reports: which to make next, and which to doubt."""
