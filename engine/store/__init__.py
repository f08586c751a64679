"""The run directory: logs, pictures, lock, recovery. Everything that must survive goes through here."""

from engine.offload import Offload, inline, threads
from engine.store.assets import quarantine, write_picture
from engine.store.atomic import write_atomic
from engine.store.fs import DISK, Durability, Fs
from engine.store.layout import RunDir, check_image_id, create_run, load_manifest
from engine.store.lock import RunLock, is_live
from engine.store.log import LogWriter, open_writer
from engine.store.orphans import Adoption, adopt_orphans
from engine.store.picture import BadPicture, Picture, check_picture
from engine.store.pictures import PICTURE_THREADS, PictureWriter
from engine.store.preflight import check_handles, check_space, check_writable, free_bytes
from engine.store.recovery import Inspection, Recovery, inspect, recover
from engine.store.repair import LOST
from engine.store.reserve import Reserve
from engine.store.scan import Damage, Settled, follow, read_lines, read_records, scan_settled, sift
from engine.store.sharing import sift_settled
from engine.store.verify import Finding, VerifyReport, verify

__all__ = [
    "DISK",
    "LOST",
    "PICTURE_THREADS",
    "Adoption",
    "BadPicture",
    "Damage",
    "Durability",
    "Finding",
    "Fs",
    "Inspection",
    "LogWriter",
    "Offload",
    "Picture",
    "PictureWriter",
    "Recovery",
    "Reserve",
    "RunDir",
    "RunLock",
    "Settled",
    "VerifyReport",
    "adopt_orphans",
    "check_handles",
    "check_image_id",
    "check_picture",
    "check_space",
    "check_writable",
    "create_run",
    "follow",
    "free_bytes",
    "inline",
    "inspect",
    "is_live",
    "load_manifest",
    "open_writer",
    "quarantine",
    "read_lines",
    "read_records",
    "recover",
    "scan_settled",
    "sift",
    "sift_settled",
    "threads",
    "verify",
    "write_atomic",
    "write_picture",
]
