"""The page of what fits is what its command writes."""

import fit_table


def test_the_page_is_what_the_command_writes() -> None:
    assert fit_table.PAGE.read_text() == "\n".join(fit_table.lines()) + "\n"
