"""The settings in force, kept in their file."""

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.settings import Fault, Settings, load_settings, save_settings


class Preferences(QObject):
    """Settings that say when they change. Without a path they are forgotten with the app.

    Attributes:
        settings: those in force.
        problem: what was wrong with the file when the app started, as a sentence for a person, or "".

    Signals:
        changed: other settings are in force.
        save_failed: why the file could not be written.
    """

    changed = Signal()
    save_failed = Signal(str)

    def __init__(self, path: Path | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._path = path
        self.settings, self.problem = Settings(), ""
        if path is not None:
            loaded = load_settings(path)
            self.settings = loaded.settings
            self.problem = self._problem(path, loaded.fault) if loaded.fault else ""

    def _problem(self, path: Path, fault: Fault) -> str:
        if not fault.damaged:
            return self.tr("{0} cannot be read: {1}. The defaults are used.").format(path, fault.reason)
        line = self.tr("The settings file is damaged: {0}. The defaults are used.").format(fault.reason)
        return " ".join(filter(None, (line, self._kept(fault))))

    def _kept(self, fault: Fault) -> str:
        return self.tr("The file is kept as {0}.").format(fault.kept_as) if fault.kept_as else ""

    def set(self, settings: Settings) -> None:
        """Put settings in force and keep them."""
        if settings == self.settings:
            return
        self.settings = settings
        self.changed.emit()
        if self._path is not None:
            try:
                save_settings(self._path, settings)
            except OSError as error:
                reason = error.strerror or str(error)
                self.save_failed.emit(self.tr("The settings cannot be kept: {0}: {1}.").format(self._path, reason))
