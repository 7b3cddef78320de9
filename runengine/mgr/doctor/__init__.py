"""``doctor``: what this host can do, what is missing, what that means and what to do about it.

A check looks at one thing and yields findings; ``examine`` runs them all. Checks look and never
touch: nothing is made, loaded, written or started but programs that are asked for their version.
Where a check cannot see (no root, no /sys) it says so, and no failure of one stops the others.
"""
