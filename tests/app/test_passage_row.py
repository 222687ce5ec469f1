"""One passage below an answer."""

from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QApplication

from app.views.passage_row import fitted_place


def test_of_a_file_in_a_folder_its_own_name_stays(qapp: QApplication) -> None:
    metrics = QFontMetrics(qapp.font())
    whole = "line 12, some/folder/page.txt"
    room = metrics.horizontalAdvance(whole)
    assert fitted_place(whole, metrics, room) == whole
    assert fitted_place(whole, metrics, room - 1) == "…/page.txt"
    assert fitted_place(whole, metrics, metrics.horizontalAdvance("…/page.txt") - 1) == "page.txt"
    narrow = fitted_place("sub/a-page-of-many.txt", metrics, metrics.horizontalAdvance("a-page.txt"))
    assert (narrow[:2], narrow[-3:]) == ("a-", "txt")
    assert "…" in narrow
    assert fitted_place("page 12, The Whale", metrics, metrics.horizontalAdvance("page 12, T…")) == "page 12, T…"
