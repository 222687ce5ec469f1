"""What the model that is in use is called, on buttons that lead to the page of models."""

from PySide6.QtCore import QCoreApplication

from app.models.engine_status import EngineState, EngineStatus
from app.settings import DEMO


def tr(text: str) -> str:
    """In the user's language."""
    return QCoreApplication.translate("ModelName", text)


def model_name(status: EngineStatus) -> str:
    """The model's name without its owner's, or what there is instead of a model."""
    if status.model is not None:
        return tr("Built-in model") if status.model.name == DEMO else status.model.name.rpartition("/")[2]
    if (loading := status.loading) is not None and loading.total:
        return tr("Loading … {0:.0%}").format(loading.share)
    return tr("Loading …") if status.state is EngineState.LOADING else tr("No model")
