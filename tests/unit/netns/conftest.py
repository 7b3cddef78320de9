"""pyroute2 is imported before tests are: up to 0.8 it starts ``uname`` to know its host."""

from runengine.netns import messages

messages.request(messages.RTM_GETLINK, [])
