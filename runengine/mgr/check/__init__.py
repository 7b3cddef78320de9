"""``system check``: what is recorded, and what is there, compared with each other.

A check looks at one kind of thing and yields what differs, with the remedy, and a repair where the
engine can do it. ``run`` does them all; when it repairs, each looks anew at what those before it
have left. What may be somebody's data is never deleted.
"""
