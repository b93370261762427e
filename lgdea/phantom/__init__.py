"""A synthetic archive with known truth: X-ray-like images, boxes, reports, evidence."""

from lgdea.phantom.config import PhantomConfig
from lgdea.phantom.generate import generate

__all__ = ["PhantomConfig", "generate"]
