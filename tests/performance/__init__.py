"""``make bench``: the node beside other software, in one run, on this machine. Not part of the tests."""
