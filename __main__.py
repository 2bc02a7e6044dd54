"""Where `pulumi up` starts.

Pulumi puts the directory of the program first on the import path: this file stands in the root so that `infra` and
`service.fleet` can be imported from there.
"""

from infra.program import main

main()
