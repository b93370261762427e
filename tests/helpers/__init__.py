"""Small archives, models and servers that tests share: ``from tests.helpers.mini_archive import Oracle``."""
