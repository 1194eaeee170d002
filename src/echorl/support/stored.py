"""Names of before, until the last user of them has moved."""

from echorl.support.files import *  # noqa: F403
from echorl.support.files import cached, is_scratch, read_json, replacing, stored, write_json, write_text  # noqa: F401
