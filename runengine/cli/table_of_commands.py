"""Every command: its name, where it is implemented and one line on it.

The top level has Docker's shorthands; the noun groups have the same commands under their nouns.
"""

from __future__ import annotations

from runengine.cli.lazy import Entry

RUN = Entry("run:run", "Create and run a new container from an image")
CREATE = Entry("run:create", "Create a new container")
START = Entry("lifecycle:start", "Start one or more stopped containers")
STOP = Entry("lifecycle:stop", "Stop one or more running containers")
KILL = Entry("lifecycle:kill", "Kill one or more running containers")
RESTART = Entry("lifecycle:restart", "Restart one or more containers")
PAUSE = Entry("lifecycle:pause", "Pause all processes within one or more containers")
UNPAUSE = Entry("lifecycle:unpause", "Unpause all processes within one or more containers")
WAIT = Entry(
    "lifecycle:wait", "Block until one or more containers stop, then print their exit codes"
)
RM = Entry("lifecycle:rm", "Remove one or more containers")
UPDATE = Entry("update:update", "Update configuration of one or more containers")
UPGRADE = Entry("upgrade:upgrade", "Put a container on another image")
RENAME = Entry("lifecycle:rename", "Rename a container")
IMPORT_CONTAINER = Entry(
    "moving:import_container", "Make the container that export --with-config wrote"
)
MOUNT = Entry("mounts:mount", "Mount the root filesystems of containers to look into them")
UNMOUNT = Entry("mounts:unmount", "Unmount the root filesystems of containers")
CP = Entry("copy:cp", "Copy files/folders between a container and the local filesystem")
COMMIT = Entry("commit:commit", "Create a new image from a container's changes")
DIFF = Entry(
    "commit:diff", "Inspect changes to files or directories on a container's filesystem"
)
EXPORT = Entry("archives:export", "Export a container's filesystem as a tar archive")
CLEANUP = Entry("lifecycle:cleanup", "Tear down an exited container", hidden=True)
ATTACH = Entry(
    "streams_commands:attach",
    "Attach local standard input, output, and error streams to a running container",
)
EXEC = Entry("streams_commands:exec_command", "Execute a command in a running container")
SPEC = Entry("spec:spec", "Write a bundle that the OCI runtime can run")

PS = Entry("ps:ps", "List containers")
PORT = Entry("port:port", "List port mappings or a specific mapping for the container")
LOGS = Entry("logs:logs", "Fetch the logs of a container")
TOP = Entry("top:top", "Display the running processes of a container")
STATS = Entry(
    "stats:stats", "Display a live stream of container(s) resource usage statistics"
)
INSPECT = Entry(
    "inspect:inspect", "Return low-level information on containers, images, networks and volumes"
)
INSPECT_CONTAINER = Entry(
    "inspect:inspect_container", "Display detailed information on one or more containers"
)

IMAGES = Entry("image_list:images", "List images")
PULL = Entry("images:pull", "Download an image from a registry")
SAVE = Entry(
    "archives:save", "Save one or more images to a tar archive (streamed to STDOUT by default)"
)
LOGIN = Entry("registry_login:login", "Log in to a registry")
LOGOUT = Entry("registry_login:logout", "Log out from a registry")
SEARCH = Entry("registry_search:search", "Search a registry for images")
PUSH = Entry("registry_push:push", "Upload an image to a registry")
LOAD = Entry("image_load:load", "Load an image from a tar archive or STDIN")
IMPORT = Entry(
    "image_load:import_image", "Import the contents from a tarball to create a filesystem image"
)
BUILD = Entry("build:build", "Build an image from a Dockerfile")
HISTORY = Entry("history:history", "Show the history of an image")
TAG = Entry("image_names:tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE")
UNTAG = Entry("image_names:untag", "Take names away from an image, which stays")
RMI = Entry("image_names:rmi", "Remove one or more images")
INSPECT_IMAGE = Entry(
    "inspect:inspect_image", "Display detailed information on one or more images"
)
DEFAULT_IMAGE = Entry("images:default", "Make the embedded default image runengine/busybox")

GC = Entry(
    "garbage:gc", "Delete layers, blobs and downloads that no image and no container needs"
)

NETWORK_LS = Entry("network:ls", "List networks")
NETWORK_RM = Entry("network:rm", "Remove one or more networks")
INSPECT_NETWORK = Entry(
    "inspect:inspect_network", "Display detailed information on one or more networks"
)

INSPECT_VOLUME = Entry(
    "inspect:inspect_volume", "Display detailed information on one or more volumes"
)
VOLUME_LS = Entry("volume:ls", "List volumes")
VOLUME_RM = Entry("volume:rm", "Remove one or more volumes, with their data")

SERVE = Entry("serve:serve", "Run the service: warm starts, restart policies, restore at boot")
EVENTS = Entry("events:events", "Get real time events from the server")
VERSION = Entry("system:version", "Show the runengine version information")
INFO = Entry("system:info", "Display system-wide information")
DOCTOR = Entry("doctor:doctor", "Show what this host can do, what is missing and what to do")
HELP = Entry("help:help_command", "Help about a command")
COMPLETION = Entry(
    "completion:completion", "Print the script that completes commands and names in a shell"
)
COMPLETE = Entry("completion:complete", "What may stand at the cursor", hidden=True)

GENERATE_SYSTEMD = Entry(
    "generate:systemd", "Generate a systemd unit that supervises a container"
)


def _alias(entry: Entry, name: str) -> Entry:
    return entry._replace(alias_of=name)


CONTAINER: dict[str, Entry] = {
    "run": RUN,
    "create": CREATE,
    "start": START,
    "stop": STOP,
    "kill": KILL,
    "restart": RESTART,
    "pause": PAUSE,
    "unpause": UNPAUSE,
    "wait": WAIT,
    "rm": RM,
    "remove": _alias(RM, "rm"),
    "rename": RENAME,
    "update": UPDATE,
    "upgrade": UPGRADE,
    "attach": ATTACH,
    "exec": EXEC,
    "ls": PS,
    "list": _alias(PS, "ls"),
    "ps": _alias(PS, "ls"),
    "port": PORT,
    "logs": LOGS,
    "top": TOP,
    "stats": STATS,
    "cp": CP,
    "mount": MOUNT,
    "unmount": UNMOUNT,
    "umount": _alias(UNMOUNT, "unmount"),
    "commit": COMMIT,
    "diff": DIFF,
    "export": EXPORT,
    "import": IMPORT_CONTAINER,
    "inspect": INSPECT_CONTAINER,
    "cleanup": CLEANUP,
    "exists": Entry("lifecycle:exists", "Exit 0 if the container is here, 1 if it is not"),
    "prune": Entry("prune:container_prune", "Remove all stopped containers"),
}

CONTAINER |= {
    "checkpoint": Entry(
        "container_checkpoint:checkpoint", "Checkpoint one or more running containers"
    ),
    "restore": Entry(
        "container_checkpoint:restore", "Restore one or more containers from a checkpoint"
    ),
}

CHECKPOINT_LS = Entry("checkpoint:ls", "List checkpoints for a container")
CHECKPOINT_RM = Entry("checkpoint:rm", "Remove a checkpoint")

CHECKPOINT: dict[str, Entry] = {
    "create": Entry("checkpoint:create", "Create a checkpoint from a running container"),
    "ls": CHECKPOINT_LS,
    "list": _alias(CHECKPOINT_LS, "ls"),
    "rm": CHECKPOINT_RM,
    "remove": _alias(CHECKPOINT_RM, "rm"),
}

IMAGE: dict[str, Entry] = {
    "ls": IMAGES,
    "list": _alias(IMAGES, "ls"),
    "pull": PULL,
    "push": PUSH,
    "save": SAVE,
    "load": LOAD,
    "import": IMPORT,
    "build": BUILD,
    "history": HISTORY,
    "diff": DIFF,
    "tag": TAG,
    "untag": UNTAG,
    "search": SEARCH,
    "rm": RMI,
    "remove": _alias(RMI, "rm"),
    "prune": Entry("prune:image_prune", "Remove unused images"),
    "exists": Entry("image_names:exists", "Exit 0 if the image is here, 1 if it is not"),
    "gc": GC,
    "verify": Entry("image_verify:verify", "Verify that stored images still are what they were"),
    "inspect": INSPECT_IMAGE,
    "default": DEFAULT_IMAGE,
}

NETWORK: dict[str, Entry] = {
    "connect": Entry("network:connect", "Connect a container to a network"),
    "create": Entry("network:create", "Create a network"),
    "exists": Entry("network:exists", "Exit 0 if the network is here, 1 if it is not"),
    "disconnect": Entry("network:disconnect", "Disconnect a container from a network"),
    "inspect": INSPECT_NETWORK,
    "ls": NETWORK_LS,
    "list": _alias(NETWORK_LS, "ls"),
    "prune": Entry("network:prune", "Remove all unused networks"),
    "reload": Entry("network:reload", "Put networks on the host again after others removed them"),
    "rm": NETWORK_RM,
    "remove": _alias(NETWORK_RM, "rm"),
}

VOLUME: dict[str, Entry] = {
    "create": Entry("volume:create", "Create a volume"),
    "export": Entry("volume_archive:export", "Export a volume's files as a tar archive"),
    "import": Entry(
        "volume_archive:import_files", "Put the files of a tar archive into a volume"
    ),
    "exists": Entry("volume:exists", "Tell by the exit code whether a volume exists"),
    "inspect": INSPECT_VOLUME,
    "ls": VOLUME_LS,
    "list": _alias(VOLUME_LS, "ls"),
    "prune": Entry("volume:prune", "Remove anonymous volumes that no container uses"),
    "rm": VOLUME_RM,
    "remove": _alias(VOLUME_RM, "rm"),
}

MANIFEST: dict[str, Entry] = {
    "inspect": Entry(
        "manifest:inspect", "Display an image manifest, or manifest list, as its registry has it"
    ),
}

SYSTEM: dict[str, Entry] = {
    "check": Entry(
        "check:check",
        "Compare records, files, mounts, layers, networks and processes with each other",
    ),
    "df": Entry("disk_usage:df", "Show how much disk images, containers and volumes take"),
    "events": EVENTS,
    "gc": GC,
    "info": INFO,
    "prune": Entry("prune:system_prune", "Remove unused data"),
    "restore": Entry("host:restore", "Start what is to run", hidden=True),
    "reconcile": Entry("host:reconcile", "Put right what a violent death left", hidden=True),
    "mend": Entry("host:mend", "Write a flushed firewall anew", hidden=True),
    "halt": Entry("host:halt", "Stop every container for a shutdown", hidden=True),
    "leave": Entry("host:leave", "Take unused networks off the host", hidden=True),
}

REGISTRY: dict[str, Entry] = {
    "explain": Entry(
        "registry_explain:explain", "Show whom a name leads to, how it is asked, and why"
    ),
    "login": LOGIN,
    "logout": LOGOUT,
    "search": SEARCH,
}

ARTIFACT: dict[str, Entry] = {
    "ls": Entry("registry_artifact:ls", "List the files of an artifact in its registry"),
    "pull": Entry("registry_artifact:pull", "Bring the files of an artifact into a directory"),
    "push": Entry("registry_artifact:push", "Put plain files into a registry"),
}

BUILDER: dict[str, Entry] = {
    "build": BUILD,
    "prune": Entry("build:prune", "Remove build cache"),
}

HEALTHCHECK: dict[str, Entry] = {
    "run": Entry("healthcheck:run", "Run the health check of a container"),
}

GENERATE: dict[str, Entry] = {
    "systemd": GENERATE_SYSTEMD,
}

TOP_LEVEL: dict[str, Entry] = {
    "run": RUN,
    "create": CREATE,
    "start": START,
    "stop": STOP,
    "kill": KILL,
    "restart": RESTART,
    "pause": PAUSE,
    "unpause": UNPAUSE,
    "wait": WAIT,
    "rm": RM,
    "rename": RENAME,
    "update": UPDATE,
    "upgrade": UPGRADE,
    "attach": ATTACH,
    "exec": EXEC,
    "spec": SPEC,
    "ps": PS,
    "port": PORT,
    "logs": LOGS,
    "top": TOP,
    "stats": STATS,
    "inspect": INSPECT,
    "cp": CP,
    "mount": MOUNT,
    "unmount": UNMOUNT,
    "umount": _alias(UNMOUNT, "unmount"),
    "build": BUILD,
    "commit": COMMIT,
    "diff": DIFF,
    "export": EXPORT,
    "history": HISTORY,
    "images": IMAGES,
    "pull": PULL,
    "push": PUSH,
    "save": SAVE,
    "load": LOAD,
    "import": IMPORT,
    "tag": TAG,
    "untag": UNTAG,
    "rmi": RMI,
    "login": LOGIN,
    "logout": LOGOUT,
    "search": SEARCH,
    "serve": SERVE,
    "events": EVENTS,
    "version": VERSION,
    "info": INFO,
    "doctor": DOCTOR,
    "help": HELP,
    "completion": COMPLETION,
    "__complete": COMPLETE,
    "builder": Entry("groups:builder", "Manage builds"),
    "checkpoint": Entry("groups:checkpoint", "Manage checkpoints"),
    "container": Entry("groups:container", "Manage containers"),
    "image": Entry("groups:image", "Manage images"),
    "manifest": Entry("groups:manifest", "Look at image manifests and manifest lists"),
    "network": Entry("groups:network", "Manage networks"),
    "volume": Entry("groups:volume", "Manage volumes"),
    "registry": Entry("groups:registry", "Look into registries"),
    "artifact": Entry("groups:artifact", "Manage plain files in registries"),
    "generate": Entry("groups:generate", "Generate files for other programs"),
    "healthcheck": Entry("groups:healthcheck", "Manage health checks"),
    "system": Entry("groups:system", "Manage runengine"),
}
