from .trackers import check_tracking as check_tracking
from .trackers import tracked as tracked
