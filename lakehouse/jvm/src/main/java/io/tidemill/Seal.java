package io.tidemill;

import java.security.GeneralSecurityException;
import org.apache.spark.sql.api.java.UDF4;

/** {@code (value, tenant, subject, place) → ciphertext}: AES-GCM under the subject's own key, bound to tenant, place and version. */
public final class Seal implements UDF4<byte[], String, String, String, byte[]> {
  private static final long serialVersionUID = 1L;

  @Override
  public byte[] call(byte[] value, String tenant, String subject, String place) throws GeneralSecurityException {
    if (value == null || tenant == null || subject == null) {
      return null;
    }
    Keyring.Subject key = Keyring.get().subject(tenant, subject);
    return key.payload().encrypt(value, Keyring.associated(tenant, place, key.version()));
  }
}
