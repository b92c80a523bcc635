"""One lesion over time: what changed by more than its error, and what must not be compared.

A change is the quotient of a ratio at two visits, with the errors of both. Two spectra are
compared only if they can be: same echo time, field, sequence, scanner and place. What is not known
to differ is compared, and said to be unknown.
"""

from mrs_necrosis.followup.comparison import followup
from mrs_necrosis.followup.course import Change, FollowUp, Point
from mrs_necrosis.followup.dates import Date
from mrs_necrosis.followup.timeline import read_timeline
from mrs_necrosis.followup.visits import Timeline, Treatment, Visit

__all__ = [
    "Change",
    "Date",
    "FollowUp",
    "Point",
    "Timeline",
    "Treatment",
    "Visit",
    "followup",
    "read_timeline",
]
