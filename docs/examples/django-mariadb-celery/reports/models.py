from django.db import models


class Report(models.Model):
    state = models.CharField(max_length=20, default="waiting")
