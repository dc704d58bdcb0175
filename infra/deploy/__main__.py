import sys

from infra.deploy.command import main

sys.exit(main())
