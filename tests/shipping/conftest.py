"""The students that every test of shipping looks at."""

from shipping_fixtures import shipped

__all__ = ["shipped"]
