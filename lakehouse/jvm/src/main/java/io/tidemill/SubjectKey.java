package io.tidemill;

import org.apache.spark.sql.api.java.UDF2;

/** {@code (tenant, subject) → id of the subject's key}; null when either is. */
public final class SubjectKey implements UDF2<String, String, String> {
  private static final long serialVersionUID = 1L;

  @Override
  public String call(String tenant, String subject) {
    return tenant == null || subject == null ? null : Keyring.get().subject(tenant, subject).id().toString();
  }
}
