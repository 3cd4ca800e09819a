from .samplers import check_sampler as check_sampler
from .schedulers import check_scheduler as check_scheduler
