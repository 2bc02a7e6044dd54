"""How a worker is: what it notes of itself, the judgement, its metrics, and the endpoint that tells them."""
