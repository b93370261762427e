"""A synthetic archive with known truth: X-ray-like images, boxes, reports, evidence."""
