from .run import EvaluationResult as EvaluationResult
from .run import evaluate as evaluate
from .settings import EvaluationSettings as EvaluationSettings
from .tables import evaluation_json as evaluation_json
from .tables import evaluation_summary as evaluation_summary
from .tables import evaluation_tables as evaluation_tables
