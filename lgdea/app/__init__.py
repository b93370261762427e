"""The web page of ``lgdea app``: read reports, ask images, find and compare cases, review evidence, look at runs.

Only the command line imports this room. gradio is imported by ``page``, ``serve`` and the tabs alone; the functions
behind the page (``reports``, ``images``, ``cases``, ``changes``, ``reviews``, ``runs``) know no page and are tested
without one.
"""
