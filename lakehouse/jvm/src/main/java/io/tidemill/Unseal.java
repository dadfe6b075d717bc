package io.tidemill;

import java.security.GeneralSecurityException;
import java.util.Optional;
import java.util.UUID;
import org.apache.spark.sql.api.java.UDF3;

/**
 * {@code (value, id of the key, place) → what was sealed}; null when the key was destroyed, or the value is not what was sealed there.
 *
 * <p>Without an id the value was never sealed, and is returned as it is.
 */
public final class Unseal implements UDF3<byte[], String, String, byte[]> {
  private static final long serialVersionUID = 1L;

  @Override
  public byte[] call(byte[] value, String id, String place) {
    if (value == null || id == null) {
      return value;
    }
    UUID key = UUID.fromString(id);
    Optional<byte[]> opened = opened(value, Keyring.get().subject(key), place);
    return opened.or(() -> opened(value, Keyring.get().again(key), place)).orElse(null);
  }

  private static Optional<byte[]> opened(byte[] value, Optional<Keyring.Subject> key, String place) {
    if (key.isEmpty()) {
      return Optional.empty();
    }
    try {
      byte[] bound = Keyring.associated(key.get().tenant(), place, Keyring.version(value));
      return Optional.of(key.get().payload().decrypt(value, bound));
    } catch (GeneralSecurityException changed) {
      return Optional.empty();
    }
  }
}
