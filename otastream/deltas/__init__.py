"""How one file's payload is coded: which delta, between what, and what it would cost.

maker.py    the choice, for files, images and nodes in place
content.py  files that must be what they were when the plan was made
cost.py     estimates of what something costs in a package
"""
