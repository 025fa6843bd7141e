import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reports.settings")
app = Celery("reports", broker=os.environ["CELERY_BROKER_URL"])
app.autodiscover_tasks()
