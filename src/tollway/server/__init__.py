"""An HTTP/1.1 server for one ASGI application: what a gateway needs of it, and as little as can be on the way of a request.

It knows nothing of Tollway. `processes.py` is the main process, `worker.py` one of the processes that answer, `accepting.py`
how they share out what comes, `descriptors.py` how much that may be. `service.py` is what the connections of a process have in
common, `connection.py` one of them, `exchange.py` one request and its answer; `heads.py` and `bodies.py` say what is a request
and what is refused.
"""

from tollway.server.descriptors import connections_that_fit
from tollway.server.processes import CannotStart, Place, Processes
from tollway.server.service import Limits, Refusal, Refuse
from tollway.server.worker import Worker

__all__ = ["CannotStart", "Limits", "Place", "Processes", "Refusal", "Refuse", "Worker", "connections_that_fit"]
