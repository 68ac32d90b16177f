"""The jobs: from an upload's bytes to a ZIP. The web uses what is named here and the rows, nothing else."""

from ezstems.audio import clipping
from ezstems.audio.decode import SAMPLE_RATE_HZ
from ezstems.audio.kinds import API_EXTENSIONS, UPLOAD_EXTENSIONS
from ezstems.audio.mixing import Mix
from ezstems.audio.outputs import FORMATS, OUTPUTS, Format
from ezstems.audio.parameters import PARAMETERS
from ezstems.audio.preview import PREVIEW_MEDIA_TYPE
from ezstems.audio.separate import CUTOFFS, STEMS
from ezstems.jobs.damage import DAMAGED_RESULT, LOST_UPLOAD
from ezstems.jobs.desk import Desk, Keep, current_desk, keep_nothing_more
from ezstems.jobs.events import job_happened
from ezstems.jobs.exports import Export
from ezstems.jobs.incoming import Incoming, Unkept
from ezstems.jobs.opened import Opened
from ezstems.jobs.renamed_zip import RenamedZip

__all__ = [
    "API_EXTENSIONS",
    "CUTOFFS",
    "DAMAGED_RESULT",
    "Export",
    "FORMATS",
    "Format",
    "Incoming",
    "Keep",
    "LOST_UPLOAD",
    "Mix",
    "OUTPUTS",
    "Opened",
    "PARAMETERS",
    "RenamedZip",
    "PREVIEW_MEDIA_TYPE",
    "SAMPLE_RATE_HZ",
    "STEMS",
    "UPLOAD_EXTENSIONS",
    "Desk",
    "Unkept",
    "clipping",
    "current_desk",
    "job_happened",
    "keep_nothing_more",
]
