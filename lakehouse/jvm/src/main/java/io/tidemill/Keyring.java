package io.tidemill;

import com.google.common.cache.CacheBuilder;
import com.google.common.cache.CacheLoader;
import com.google.common.cache.LoadingCache;
import com.google.common.util.concurrent.UncheckedExecutionException;
import com.google.crypto.tink.Aead;
import com.google.crypto.tink.DeterministicAead;
import com.google.crypto.tink.InsecureSecretKeyAccess;
import com.google.crypto.tink.KeysetHandle;
import com.google.crypto.tink.Parameters;
import com.google.crypto.tink.RegistryConfiguration;
import com.google.crypto.tink.TinkProtoKeysetFormat;
import com.google.crypto.tink.aead.AeadConfig;
import com.google.crypto.tink.aead.PredefinedAeadParameters;
import com.google.crypto.tink.daead.DeterministicAeadConfig;
import com.google.crypto.tink.daead.PredefinedDeterministicAeadParameters;
import com.google.crypto.tink.prf.PredefinedPrfParameters;
import com.google.crypto.tink.prf.PrfConfig;
import com.google.crypto.tink.prf.PrfSet;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.text.Normalizer;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.ExecutionException;

/**
 * The keys of data subjects, as tasks use them: found in PostgreSQL, made there when a subject is new, and remembered for a while.
 *
 * <p>Keys are stored wrapped: a subject's by its tenant's, a tenant's by the workspace's. The driver hands the workspace's over, once
 * for each JVM. {@code lakehouse/security/keyring.py} is the other half: it owns the tables, destroys keys and makes new versions.
 */
public final class Keyring {
  private static final Duration REMEMBERED = Duration.ofSeconds(30);
  private static final int MANY = 100_000;
  private static volatile Keyring open;

  private final String url;
  private final Properties properties;
  private final Aead root;
  private Connection connection;

  private final LoadingCache<String, Tenant> tenants = cache(this::loadTenant);
  private final LoadingCache<Name, Subject> subjects = cache(this::loadSubject);
  private final LoadingCache<UUID, Optional<Subject>> byId = cache(this::loadById);

  private record Name(String tenant, String subject) {}

  private record Tenant(Aead wrap, DeterministicAead tokens) {}

  /** A subject whose key is there. */
  record Subject(UUID id, String tenant, Aead payload, int version, PrfSet pseudonyms) {}

  private Keyring(String url, Properties properties, Aead root) {
    this.url = url;
    this.properties = properties;
    this.root = root;
  }

  /**
   * Called by the driver, before the first function that needs a key.
   *
   * @param url JDBC URL of the database that keeps keys.
   * @param options How to connect: user, password and so on.
   * @param root The workspace's keyset, in the clear.
   */
  public static void open(String url, Map<String, String> options, byte[] root) throws GeneralSecurityException {
    AeadConfig.register();
    DeterministicAeadConfig.register();
    PrfConfig.register();
    Properties properties = new Properties();
    properties.putAll(options);
    KeysetHandle handle = TinkProtoKeysetFormat.parseKeyset(root, InsecureSecretKeyAccess.get());
    if (open != null) {
      open.disconnect();
    }
    open = new Keyring(url, properties, handle.getPrimitive(RegistryConfiguration.get(), Aead.class));
  }

  static Keyring get() {
    if (open == null) {
      throw new IllegalStateException("The keyring is not open, so personal data cannot be protected.");
    }
    return open;
  }

  /** Return the key of a subject; it is made if there is none. */
  Subject subject(String tenant, String subject) {
    String normal = Normalizer.normalize(subject, Normalizer.Form.NFKC).strip().toLowerCase(Locale.ROOT);
    return from(subjects, new Name(tenant, normal));
  }

  /** Return a key by its id; empty when it was destroyed. */
  Optional<Subject> subject(UUID id) {
    return from(byId, id);
  }

  /** Return a key as it is now: what it did not open may have been sealed with a version that is newer than what is remembered. */
  Optional<Subject> again(UUID id) {
    byId.invalidate(id);
    return subject(id);
  }

  DeterministicAead tokens(String tenant) {
    return from(tenants, tenant).tokens();
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private Tenant loadTenant(String name) throws GeneralSecurityException, SQLException {
    return run(
        database -> {
          byte[] bound = bytes("tenant " + name);
          byte[][] found = tenantRow(database, name);
          if (found == null) {
            byte[] wrap = wrapped(PredefinedAeadParameters.AES256_GCM, root, bound);
            byte[] tokens = wrapped(PredefinedDeterministicAeadParameters.AES256_SIV, root, bound);
            update(
                database, "INSERT INTO tidemill.tenant_key VALUES (?, ?, ?) ON CONFLICT DO NOTHING", name, wrap, tokens);
            found = tenantRow(database, name); // another one may have been first
          }
          return new Tenant(
              unwrapped(found[0], root, bound, Aead.class), unwrapped(found[1], root, bound, DeterministicAead.class));
        });
  }

  private static byte[][] tenantRow(Connection database, String name) throws SQLException {
    String query = "SELECT wrap, tokens FROM tidemill.tenant_key WHERE tenant = ?";
    try (PreparedStatement statement = prepared(database, query, name);
        ResultSet rows = statement.executeQuery()) {
      return rows.next() ? new byte[][] {rows.getBytes(1), rows.getBytes(2)} : null;
    }
  }

  private Subject loadSubject(Name name) throws GeneralSecurityException, SQLException {
    try {
      return findSubject(name);
    } catch (GeneralSecurityException rotated) { // the tenant's key has a new version
      tenants.invalidate(name.tenant());
      return findSubject(name);
    }
  }

  private Subject findSubject(Name name) throws GeneralSecurityException, SQLException {
    Tenant tenant = from(tenants, name.tenant());
    byte[] index = tenant.tokens().encryptDeterministically(bytes(name.subject()), bytes("subject"));
    return run(
        database -> {
          Subject found = subjectRow(database, tenant, name.tenant(), index);
          if (found == null) {
            UUID id = UUID.randomUUID();
            byte[] bound = bytes("subject " + id);
            update(
                database,
                "INSERT INTO tidemill.subject_key (id, tenant, subject, payload, pseudonyms) VALUES (?, ?, ?, ?, ?)"
                    + " ON CONFLICT DO NOTHING",
                id,
                name.tenant(),
                index,
                wrapped(PredefinedAeadParameters.AES256_GCM, tenant.wrap(), bound),
                wrapped(PredefinedPrfParameters.HMAC_SHA256_PRF, tenant.wrap(), bound));
            found = subjectRow(database, tenant, name.tenant(), index);
          }
          return found;
        });
  }

  private static Subject subjectRow(Connection database, Tenant tenant, String name, byte[] index)
      throws GeneralSecurityException, SQLException {
    String query = "SELECT id, payload, pseudonyms FROM tidemill.subject_key WHERE tenant = ? AND subject = ?";
    try (PreparedStatement statement = prepared(database, query, name, index);
        ResultSet rows = statement.executeQuery()) {
      return rows.next() ? read(tenant, rows.getObject(1, UUID.class), name, rows.getBytes(2), rows.getBytes(3)) : null;
    }
  }

  private Optional<Subject> loadById(UUID id) throws GeneralSecurityException, SQLException {
    record Row(String tenant, byte[] payload, byte[] pseudonyms) {}
    Row row =
        run(
            database -> {
              String query = "SELECT tenant, payload, pseudonyms FROM tidemill.subject_key WHERE id = ?";
              try (PreparedStatement statement = prepared(database, query, id);
                  ResultSet rows = statement.executeQuery()) {
                return rows.next() ? new Row(rows.getString(1), rows.getBytes(2), rows.getBytes(3)) : null;
              }
            });
    if (row == null) {
      throw new IllegalStateException("Key " + id + " is not in the keyring: it was not destroyed, it is lost.");
    }
    if (row.payload() == null) {
      return Optional.empty();
    }
    try {
      return Optional.of(read(from(tenants, row.tenant()), id, row.tenant(), row.payload(), row.pseudonyms()));
    } catch (GeneralSecurityException rotated) {
      tenants.invalidate(row.tenant());
      return Optional.of(read(from(tenants, row.tenant()), id, row.tenant(), row.payload(), row.pseudonyms()));
    }
  }

  private static Subject read(Tenant tenant, UUID id, String name, byte[] payload, byte[] pseudonyms)
      throws GeneralSecurityException {
    byte[] bound = bytes("subject " + id);
    KeysetHandle keys = TinkProtoKeysetFormat.parseEncryptedKeyset(payload, tenant.wrap(), bound);
    Aead aead = keys.getPrimitive(RegistryConfiguration.get(), Aead.class);
    PrfSet prf = unwrapped(pseudonyms, tenant.wrap(), bound, PrfSet.class);
    return new Subject(id, name, aead, keys.getPrimary().getId(), prf);
  }

  private static byte[] wrapped(Parameters parameters, Aead wrap, byte[] bound) throws GeneralSecurityException {
    KeysetHandle fresh = KeysetHandle.generateNew(parameters);
    return TinkProtoKeysetFormat.serializeEncryptedKeyset(fresh, wrap, bound);
  }

  private static <T> T unwrapped(byte[] stored, Aead wrap, byte[] bound, Class<T> kind) throws GeneralSecurityException {
    return TinkProtoKeysetFormat.parseEncryptedKeyset(stored, wrap, bound).getPrimitive(RegistryConfiguration.get(), kind);
  }

  private interface Work<T> {
    T on(Connection database) throws GeneralSecurityException, SQLException;
  }

  /** One at a time: what is asked of the database is little, and only for subjects that are not remembered. */
  private synchronized <T> T run(Work<T> work) throws GeneralSecurityException, SQLException {
    if (connection == null) {
      connection = DriverManager.getConnection(url, properties);
    }
    try {
      return work.on(connection);
    } catch (SQLException failure) {
      disconnect();
      throw failure;
    }
  }

  private synchronized void disconnect() {
    try {
      if (connection != null) {
        connection.close();
      }
    } catch (SQLException ended) { // as it was to be
    } finally {
      connection = null;
    }
  }

  private static PreparedStatement prepared(Connection database, String query, Object... values) throws SQLException {
    PreparedStatement statement = database.prepareStatement(query);
    for (int i = 0; i < values.length; i++) {
      statement.setObject(i + 1, values[i]);
    }
    return statement;
  }

  private static void update(Connection database, String query, Object... values) throws SQLException {
    try (PreparedStatement statement = prepared(database, query, values)) {
      statement.executeUpdate();
    }
  }

  private static <K, V> LoadingCache<K, V> cache(Loader<K, V> loader) {
    return CacheBuilder.newBuilder()
        .maximumSize(MANY)
        .expireAfterWrite(REMEMBERED)
        .build(
            new CacheLoader<>() {
              @Override
              public V load(K key) throws GeneralSecurityException, SQLException {
                return loader.load(key);
              }
            });
  }

  private interface Loader<K, V> {
    V load(K key) throws GeneralSecurityException, SQLException;
  }

  private static <K, V> V from(LoadingCache<K, V> cache, K key) {
    try {
      return cache.get(key);
    } catch (ExecutionException | UncheckedExecutionException failure) {
      Throwable cause = failure.getCause();
      throw new IllegalStateException("The keyring cannot be read: " + cause.getMessage(), cause);
    }
  }

  /** What a ciphertext is bound to, so that it means nothing at another tenant, table or column, or under another version. */
  static byte[] associated(String tenant, String place, int version) {
    return bytes(tenant + "\0" + place + "\0" + Integer.toUnsignedString(version));
  }

  /** The version of the key that made a ciphertext: Tink writes it behind the first byte. */
  static int version(byte[] sealed) throws GeneralSecurityException {
    if (sealed.length < 5) {
      throw new GeneralSecurityException("too short");
    }
    return ByteBuffer.wrap(sealed).getInt(1);
  }
}
