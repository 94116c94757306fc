"""A question to a TAP service: asked again where it fails, and answered whole or not at all."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

from lcframework.types import NeedMissing

if TYPE_CHECKING:
    from astropy.table import Table

#: More rows are not asked for; one more than these shows that there are more, also where a service does not say so.
MOST_ROWS = 100_000


def ask(url: str, query: str, title: str, timeout: float, retries: int) -> Table:
    """Return the whole answer of a service.

    Parameters
    ----------
    url : str
        Of the service, without /sync.
    query : str
        ADQL.
    title : str
        What users call the survey.
    timeout : float
        s, for each try.
    retries : int
        Further tries after the first one that fails.

    Raises
    ------
    NeedMissing
        Where the service does not answer, or its answer was cut at a limit of rows: stars that are missing then would
        be taken for stars that the survey does not have.
    """
    import pyvo
    import requests

    class Session(requests.Session):
        def request(self, *args: Any, **kwargs: Any) -> Any:
            return super().request(*args, **{**kwargs, "timeout": timeout})

    for attempt in range(retries + 1):
        try:
            with Session() as session, warnings.catch_warnings():
                warnings.simplefilter("ignore", pyvo.dal.DALOverflowWarning)  # an error, below
                results = pyvo.dal.TAPQuery(url, query, maxrec=MOST_ROWS + 1, session=session).execute()
                answer = results.to_table()
        except (pyvo.dal.DALAccessError, requests.RequestException, OSError) as error:
            if attempt == retries:
                raise NeedMissing(
                    f"{title} ({url}) does not answer: {' '.join(str(error).split())[:200]}. Try again later, or "
                    "calibrate with another [calibration] plugin."
                ) from error
            time.sleep(min(2.0**attempt, timeout))
            continue
        if overflowed(results.votable) or len(answer) > MOST_ROWS:
            raise NeedMissing(f"{title} cut its answer short at {len(answer)} rows: use fewer stars or a smaller field")
        return answer
    raise AssertionError("unreachable")


def overflowed(votable: Any) -> bool:
    """Return whether any QUERY_STATUS of the document says OVERFLOW; services put it in a resource or in its table."""
    infos = list(votable.infos)
    for resource in votable.resources:
        infos += [*resource.infos, *(info for table in resource.tables for info in table.infos)]
    return any(info.name == "QUERY_STATUS" and str(info.value).upper() == "OVERFLOW" for info in infos)
