"""The demonstration: a real node and a small PACS on this machine, real images and manipulated copies.

``python -m medfake_pacs.demo`` starts the node as a process of its own, sends it studies by C-STORE,
receives the reports, and prints them beside the truth. It needs a checkout with ``training`` beside
the package, and the PyPI package ``pydicom-data``.
"""
