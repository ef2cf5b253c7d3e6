"""Would do what somebody asks for."""

import time

import mysite.settings

while mysite.settings.INSTALLED_APPS:
    time.sleep(60)
