"""ImageMgr: the operations on images. Each lives in a module of its own and is imported when used,

so that running a container from an image that is here costs no registry, archive or model code.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from runengine.errors import NotFound
from runengine.mgr.image import naming
from runengine.mgr.image.context import ImageContext, labels_of, note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from runengine.config import Config
    from runengine.mgr.building.request import BuildRequest
    from runengine.mgr.events import Events
    from runengine.mgr.image.archive import Readable
    from runengine.mgr.image.commit import Commit, Wishes
    from runengine.mgr.image.garbage import Garbage, Swept
    from runengine.mgr.image.indexes import Offered
    from runengine.mgr.image.progress import Progress
    from runengine.mgr.image.prune import Pruned
    from runengine.mgr.image.pull import PullResult
    from runengine.mgr.image.push import PushResult
    from runengine.mgr.image.sharing import SharedLayer
    from runengine.mgr.image.verify import Report
    from runengine.registry.credentials import CredentialSource
    from runengine.rootfs.changes import Change
    from runengine.store.images import StoredImage
    from runengine.store.store import Store

    Documents = list[dict[str, Any]]
    Manifests = dict[str, Any] | Documents
    Removed = list[dict[str, str]]
    Names = list[str]
    Pulls = list[PullResult]
    Pushes = list[PushResult]
    Found = list[Garbage]
    Layers = list[SharedLayer]
    Offers = list[Offered]


class ImageMgr:
    """Images of one engine. The second half has the seed's names for the same operations."""

    def __init__(self, config: Config, store: Store, events: Events) -> None:
        self._context = ImageContext(config, store, events)
        self._images = store.images

    def lookup(self, name: str) -> StoredImage:
        """The image with this name, id or unique id prefix; names come first.

        Raises NotFound, AmbiguousName, InvalidParameter.
        """
        return naming.find(self._images, name).image

    def exists(self, name: str) -> bool:
        """Whether ``lookup`` would find it."""
        try:
            self.lookup(name)
        except NotFound:
            return False
        return True

    def layer_paths(self, layers: list[str]) -> list[str]:
        """The unpacked directories of these layer keys, bottom first.

        A layer that is missing is unpacked again from its blob, once. Raises NotFound.
        """
        store = self._context.layers
        if not all(store.has(key) for key in layers):
            from runengine.mgr.image import repair

            repair.unpack_again(self._context, layers)
        return [store.path(key) for key in layers]

    def pull(
        self,
        reference: str,
        *,
        platform: str | None = None,
        progress: Progress | None = None,
        credentials: CredentialSource | None = None,
        quiet: bool = False,
    ) -> PullResult:
        """Bring an image from its registry and point the name at it.

        ``platform`` is ``os/architecture[/variant]``, by default this machine's. Raises
        InvalidParameter, NotFound, Unauthorized, Unavailable, Corrupt, Unsupported.
        """
        from runengine.mgr.image import pull
        from runengine.mgr.image.progress import NoProgress

        shown = NoProgress() if quiet or progress is None else progress
        return pull.pull(
            self._context, reference, platform=platform, progress=shown, credentials=credentials
        )

    def pull_all(
        self,
        reference: str,
        *,
        platform: str | None = None,
        progress: Progress | None = None,
        credentials: CredentialSource | None = None,
    ) -> Pulls:
        """Bring every tag of a repository that is an image.

        Raises what ``pull`` raises; EngineError names the tags that did not come.
        """
        from runengine.mgr.image import pull
        from runengine.mgr.image.progress import NoProgress

        return pull.pull_all(
            self._context,
            reference,
            platform=platform,
            progress=progress or NoProgress(),
            credentials=credentials,
        )

    def push(
        self,
        reference: str,
        *,
        all_tags: bool = False,
        compression_format: str | None = None,
        compression_level: int | None = None,
        progress: Progress | None = None,
        credentials: CredentialSource | None = None,
    ) -> Pushes:
        """Bring an image, or all tags of a repository, to its registry.

        Layers go as they are stored; those that are not compressed are, by gzip or zstd. Raises
        InvalidParameter, NotFound, Unauthorized, Unavailable, Corrupt.
        """
        from runengine.mgr.image import compressing, push
        from runengine.mgr.image.progress import NoProgress

        how = None
        if compression_format or compression_level is not None:
            how = compressing.chosen(compression_format, compression_level)
        return push.push(
            self._context,
            reference,
            push.Options(all_tags, how),
            progress=progress or NoProgress(),
            credentials=credentials,
        )

    def load(
        self,
        source: Readable | str,
        *,
        name: str | None = None,
        platform: str | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Load the images of a ``docker save`` archive or an OCI layout, in one pass.

        ``source`` is a stream, or the path of a directory with a layout.
        With ``name`` only images of that repository. Returns their names, or the ids of those
        without. Raises InvalidParameter, NotFound, Corrupt, Unsupported; then nothing is loaded.
        """
        from runengine.mgr.image import load
        from runengine.mgr.image.progress import NoProgress

        shown = progress or NoProgress()
        return load.load(self._context, source, name=name, platform=platform, progress=shown)

    def save(
        self,
        names: Sequence[str],
        target: int,
        *,
        format: str = "",
        platform: str | None = None,
    ) -> None:
        """Write images to the open file ``target`` as one tar that everybody reads.

        ``format`` narrows it to ``docker-archive`` or ``oci-archive``. See ``save.save``.
        """
        from runengine.mgr.image import save

        save.save(self._context, names, target, form=format, platform=platform)

    def import_rootfs(
        self,
        stream: Readable,
        reference: str | None = None,
        *,
        changes: Sequence[str] = (),
        message: str = "",
        platform: str | None = None,
    ) -> str:
        """Make an image of one layer from a root filesystem's tar; returns its id.

        ``changes`` are Dockerfile instructions. Raises InvalidParameter, Corrupt.
        """
        from runengine.mgr.image import importing

        return importing.import_rootfs(
            self._context,
            stream,
            reference,
            importing.Description(changes=changes, message=message, platform=platform),
        )

    def begin_commit(
        self, image_id: str, layers: Names, wishes: Wishes
    ) -> AbstractContextManager[Commit]:
        """Around the making of an image from a container. See ``commit.begin``."""
        from runengine.mgr.image import commit

        return commit.begin(self._context, image_id, layers, wishes)

    def history(self, name: str) -> Documents:
        """Docker's ``/images/{name}/history``, the newest line first. See ``history.history``."""
        from runengine.mgr.image import history

        return history.history(self._context, name)

    def diff(self, name: str) -> Sequence[Change]:
        """What the image's topmost layer changes in those below it. Raises NotFound."""
        from runengine.mgr.image import differences

        self.layer_paths(self.lookup(name).layers)
        return differences.changes(self._context, name)

    def build(
        self, request: BuildRequest, stdin: Readable, *, say: Callable[[bytes], None]
    ) -> str:
        """Build an image by a builder that is installed; returns its id. See ``building.build``.

        ``say`` gets what the builder prints, line by line.
        """
        from runengine.mgr.building import building

        def pull(name: str, platform: str | None) -> None:
            self.pull(name, platform=platform, quiet=True)

        return building.build(self._context, request, stdin, pull, say)

    def prune_builds(self) -> int:
        """Delete what builders keep for the next build; returns the bytes freed."""
        from runengine.mgr.building import building

        return building.prune(self._context)

    def ensure_default(self) -> str:
        """Make the embedded image ``runengine/busybox:latest`` if it is not here; its id.

        Raises Unavailable where there is no static busybox.
        """
        from runengine.mgr.image import default

        return default.ensure_default(self._context)

    def list(
        self, filters: Mapping[str, Sequence[str]] | None = None, *, usage: bool = False
    ) -> Documents:
        """Images in the shape of Docker's ``/images/json``, the newest first.

        Filters: before, since, reference, label, dangling, until. With ``usage`` SharedSize and
        Containers are counted. Raises InvalidParameter.
        """
        from runengine.mgr.image import listing

        return listing.listed(self._context, filters, usage=usage)

    def tree(self) -> dict[str, Layers]:
        """The layers of every image, bottom first, by its id, and who else has them."""
        from runengine.mgr.image import sharing

        return sharing.tree(self._context)

    def platforms(self, image_ids: Sequence[str]) -> dict[str, Offers]:
        """What the multi-platform indexes that the images' names stand for offer, by id."""
        from runengine.mgr.image import indexes

        return indexes.of_images(self._context, image_ids)

    def inspect(self, name: str, *, platform: str | None = None) -> dict[str, Any]:
        """One image in the shape of Docker's ``/images/{name}/json``.

        With ``platform`` the one that the name's index has for it. Raises NotFound.
        """
        from runengine.mgr.image import inspecting

        return inspecting.inspected(self._context, name, platform)

    def inspect_manifest(
        self, reference: str, *, verbose: bool = False, local: bool = False, insecure: bool = False
    ) -> Manifests:
        """The manifest or index behind a name. See ``manifests.inspect``."""
        from runengine.mgr.image import manifests

        return manifests.inspect(
            self._context, reference, verbose=verbose, local=local, insecure=insecure
        )

    def tag(self, source: str, target: str) -> str:
        """Point the name ``target`` at the image; returns it in full.

        Raises NotFound, InvalidParameter.
        """
        began_ns = time.monotonic_ns()
        name = naming.tag(self._images, source, target)
        row = self._images.find_name(name)
        if row is not None:
            shown = [naming.familiar(name)]
            note(self._context, "tag", row.image_id, shown, began_ns=began_ns)
        return name

    def remove(
        self,
        name: str,
        *,
        force: bool = False,
        prune: bool = True,  # noqa: ARG002 (Docker's untagged parents: an image here has none)
    ) -> Removed:
        """Remove a name, and the image with its last one: Docker's Untagged and Deleted entries.

        Raises NotFound, AmbiguousName, Conflict.
        """
        from runengine.mgr.image import removal

        return removal.remove(self._context, name, force=force)

    def untag(self, name: str, names: Sequence[str] = ()) -> Names:
        """Take these names, or all, from an image, which stays; the names taken.

        Raises NotFound, also for a name that is not the image's.
        """
        from runengine.mgr.image import removal

        return removal.untag(self._context, name, names)

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Remove images without a tag, or with ``dangling=false`` all, that no container uses.

        Filters: dangling, label, label!, until. Raises InvalidParameter.
        """
        from runengine.mgr.image import prune

        return prune.prune(self._context, filters or {})

    def verify(
        self,
        names: Sequence[str] = (),
        *,
        repair: bool = False,
        progress: Progress | None = None,
        credentials: CredentialSource | None = None,
    ) -> Report:
        """Whether these images, or everything that is stored, still are what they were.

        With ``repair`` blobs are fetched and layers unpacked again. See ``verify.verify``.
        """
        from runengine.mgr.image import mending, verify
        from runengine.mgr.image.progress import NoProgress

        mender = mending.Mender(self._context, repairs=repair, credentials=credentials)
        return verify.verify(self._context, names, mender, progress or NoProgress())

    def find_garbage(self, *, everything: bool = False) -> Found:
        """What ``collect_garbage`` would delete now, the largest first; changes nothing."""
        from runengine.mgr.image import garbage

        grace_s = 0.0 if everything else garbage.GRACE_S
        return garbage.find(self._context, grace_s=grace_s)

    def collect_garbage(self, *, everything: bool = False) -> Swept | None:
        """Delete blobs and layers that nothing refers to; None while an image is on its way in.

        ``everything`` takes also what a pull that broke off left within the last day.
        """
        from runengine.mgr.image import garbage

        grace_s = 0.0 if everything else garbage.GRACE_S
        return garbage.sweep(self._context, grace_s=grace_s)

    # The seed's names.

    def lookup_image_references(self, ref: str) -> Names:
        """Every full name that ``ref`` may stand for, the likeliest first; no look at the store.

        Raises InvalidParameter.
        """
        from runengine.registry import reference

        return [str(reference.parse(ref))]

    def check_reference(self, ref: str) -> tuple[str, str, str]:
        """``(image id, the name that was meant, an actual name of the image)``. Raises NotFound.

        The last two are empty for an image that has no name.
        """
        found = naming.find(self._images, ref)
        names = self._images.names_of(found.image.image_id)
        primary = found.name or next(iter(names), "")
        return found.image.image_id, found.name or primary, primary

    def get_image(self, name: str) -> dict[str, Any]:
        """The same as ``inspect``."""
        return self.inspect(name)

    def list_images(self, filters: Mapping[str, Sequence[str]] | None = None) -> Documents:
        """The same as ``list``."""
        return self.list(filters)

    def pull_image(self, ref: str, **options: Any) -> PullResult:
        """The same as ``pull``."""
        return self.pull(ref, **options)

    def search_images(self, term: str, **options: Any) -> Documents:
        """Repositories of a registry, in the shape of Docker's ``/images/search``.

        Raises InvalidParameter, Unauthorized, Unavailable.
        """
        from runengine.mgr.registry import search

        return search.search(self._context.config, term, **options).entries

    def push_image(self, ref: str, **options: Any) -> Pushes:
        """The same as ``push``."""
        return self.push(ref, **options)

    def remove_image(self, name: str, *, force: bool = False) -> Removed:
        """The same as ``remove``."""
        return self.remove(name, force=force)

    def add_tag(self, source: str, target: str) -> str:
        """The same as ``tag``."""
        return self.tag(source, target)

    def list_references(self, image_id: str) -> Names:
        """The tags of the image with this full id, in full; not the names by digest."""
        return [name for name in self._images.names_of(image_id) if naming.is_tag(name)]

    def load_image(self, stream: Readable, name: str | None = None) -> Names:
        """The same as ``load``."""
        return self.load(stream, name=name)

    def image_history(self, name: str) -> Documents:
        """The same as ``history``."""
        return self.history(name)

    def save_image(self, name: str, target: int) -> None:
        """The same as ``save``, of one image."""
        self.save([name], target)

    def log_image_event(self, image_id: str, name: str, action: str) -> None:
        """Write an event of an image down, with its labels and this name."""
        note(self._context, action, image_id, [name])

    def log_image_event_with_attributes(
        self, image_id: str, name: str, action: str, attributes: Mapping[str, str]
    ) -> None:
        """The same with further attributes."""
        labels = {**labels_of(self._context, image_id), **attributes}
        self._context.events.image(action, image_id, name, labels=labels)

    def get_oci_image_config(self, name: str) -> dict[str, Any]:
        """The execution parameters in the image's config (image-spec, config.md)."""
        from runengine.mgr.image import listing

        return listing.section(listing.document(self.lookup(name)))
