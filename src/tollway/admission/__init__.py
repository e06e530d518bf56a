"""The front desk: may this request be answered, and how did it end? Credits, limits and idempotency in one transaction."""

from tollway.admission.desk import Desk, FrontDesk, OpenDesk
from tollway.admission.nodes import Nodes
from tollway.admission.records import Admitted, Idempotency, Order, Outcome, Replay, Settled

__all__ = ["Admitted", "Desk", "FrontDesk", "Idempotency", "Nodes", "OpenDesk", "Order", "Outcome", "Replay", "Settled"]
